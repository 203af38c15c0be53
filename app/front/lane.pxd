# Types of the fast lane for the compiled modules of the front; `lane.py` says what the fields are.

cdef class Lane:
    cdef public long long hits
    cdef public long long second
    cdef public dict prefixes
    cdef public bytes suffix
    cdef public bytes suffix_close
    cdef public bytes unsent
    cdef public list latency
    cdef public double latency_s
    cdef public object table
    cdef public object append
    cpdef int answer(self, bytes data, bytes peer, int descriptor, bint may_close) except -1
