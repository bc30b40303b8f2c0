/* `guest reach HOST PORT`: what a connection from in here finds there, in one word. Whether containers are kept apart
 * is tried by it: a port where nothing listens answers all the same ("refused"), unless something is in the way. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "guest.h"

enum { REACH_MS = 1000 };

int reach_main(const char *host, const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = a.sin_port};
    bool four = inet_pton(AF_INET, host, &a.sin_addr) == 1;
    if (!four && inet_pton(AF_INET6, host, &six.sin6_addr) != 1)
        return 2;
    int fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    socklen_t size = sizeof error;
    const struct sockaddr *to = four ? (struct sockaddr *)&a : (struct sockaddr *)&six;
    if (connect(fd, to, four ? sizeof a : sizeof six) < 0)
        error = errno;
    struct pollfd p = {fd, POLLOUT, 0};
    if (error == EINPROGRESS && poll(&p, 1, REACH_MS) == 0)
        error = ETIMEDOUT;
    else if (error == EINPROGRESS && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    puts(!error ? "open" : error == ECONNREFUSED ? "refused" : error == ETIMEDOUT ? "silent" : strerror(error));
    return 0;
}
