"""Start a worker: `python -I boot.py REQUESTS REPLIES LIFE [FOLDER ...]`.

The three are descriptors (handles on Windows); the folders lead the import path. Run by its path, so that the folder
which holds wfe (often a whole site-packages) never gets on the import path of another environment. Loads the package
`wfe` from the file beside this one under its own name; what a worker needs of it (`wfe.wire`, `wfe.worker`) is then
found through the package. Kept short, since a script is compiled anew at each start.
"""

import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from os.path import abspath, dirname, join


def load_wfe() -> None:
    folder = dirname(dirname(abspath(__file__)))
    path = join(folder, "__init__.py")
    loader = SourceFileLoader("wfe", path)
    spec = ModuleSpec("wfe", loader, origin=path, is_package=True)
    spec.submodule_search_locations = [folder]
    spec.has_location = True
    module = type(sys)("wfe")
    module.__spec__ = spec
    module.__file__ = path
    module.__path__ = [folder]
    module.__loader__ = loader
    module.__package__ = "wfe"
    sys.modules["wfe"] = module
    loader.exec_module(module)


# Also when multiprocessing's "spawn" runs this file anew as __mp_main__: the node's module that it imports next needs
# wfe.
if "wfe" not in sys.modules:
    load_wfe()

if __name__ == "__main__":
    from wfe.worker import main

    main([int(text) for text in sys.argv[1:4]], sys.argv[4:])
