"""Compiles what runs for every redirect and click, where there is a C compiler; without one it is interpreted."""

from Cython.Build import cythonize
from setuptools import Extension, setup

HOT = [
    "app/front/head.py",
    "app/front/lane.py",
    "app/front/connection.py",
    "app/front/listener.py",
    "app/journal/writer.py",
    "app/agents/fields.py",
]

extensions = cythonize(
    [Extension(path.removesuffix(".py").replace("/", "."), [path]) for path in HOT],
    language_level=3,
    build_dir="build/cython",
    compiler_directives={
        "boundscheck": False,
        "wraparound": False,
        "initializedcheck": False,
        "cdivision": True,
    },
)
for extension in extensions:
    extension.optional = True
setup(ext_modules=extensions)
