"""The tasks of this project for doit. The workflows are the documents in workflows/, the nodes the functions in nodes/.

doit list                        the workflows
doit list workflow=NAME          the steps of one
doit run workflow=NAME [-n 4]    run it; what is current is left alone
"""

from wfe.dodo import open_project

DOIT_CONFIG, task_workflow = open_project(__file__)
