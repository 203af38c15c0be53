# The compiled judge of plain heads, for the fast lane; `head.py` says what it accepts.

cdef struct Plain:
    Py_ssize_t slug
    Py_ssize_t slug_end
    Py_ssize_t host
    Py_ssize_t host_end
    bint close

cdef bint scan(bytes data, bint may_close, Plain* found) noexcept
