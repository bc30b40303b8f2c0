/* Preloaded into Chromium: no netlink socket, so that it does not hear of network interfaces. Engines make and remove one
 * for each container, and at each Chromium breaks off whatever it is loading (ERR_NETWORK_CHANGED). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol)
{
    static int (*real)(int, int, int);
    if (domain == AF_NETLINK) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    if (!real)
        real = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    return real(domain, type, protocol);
}
