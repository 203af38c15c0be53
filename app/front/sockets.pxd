# The C functions that `listener.py` calls when compiled; declarations only.

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <string.h>
    #include <unistd.h>
    /* Accepts without blocking; writes the peer into 16 bytes, IPv4 as ::ffff:a.b.c.d, zeros for a unix socket. */
    static int accept_peer(int listener, unsigned char *peer) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int descriptor = accept4(listener, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        memset(peer, 0, 16);
        if (descriptor < 0) return -1;
        if (address.ss_family == AF_INET) {
            peer[10] = peer[11] = 0xff;
            memcpy(peer + 12, &((struct sockaddr_in *)&address)->sin_addr, 4);
        } else if (address.ss_family == AF_INET6) {
            memcpy(peer, &((struct sockaddr_in6 *)&address)->sin6_addr, 16);
        }
        return descriptor;
    }
    """
    int accept_peer(int listener, unsigned char* peer)
    ssize_t read(int descriptor, void* into, size_t size)
    int close(int descriptor)
