"""Compiles what runs for every redirect and click, where there is a C compiler; without one it is interpreted."""

import os

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
    extension.extra_compile_args = ["-g0"]  # a fifth of the time goes into what only a debugger reads
setup(ext_modules=extensions, options={"build_ext": {"parallel": os.cpu_count()}})
