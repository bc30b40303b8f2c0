/* Terminals: their settings, and the end of their input. */
#include <termios.h>

#include "guest.h"

void tty_prepare(int master)
{
    struct termios t;
    if (tcgetattr(master, &t) < 0)
        return;
    t.c_iflag |= IUTF8; /* erase takes a character, not a byte */
    tcsetattr(master, TCSANOW, &t);
}

void process_typed(struct in *i, const struct iovec *v, size_t size)
{
    struct process *p = (struct process *)i->channel;
    if (size > v[0].iov_len) {
        size -= v[0].iov_len;
        v++;
    }
    uint8_t last = ((const uint8_t *)v->iov_base)[size - 1];
    p->mid_line = last != '\n' && last != '\r';
}

/* A pipe is closed. A terminal's reader sees its end when the line it reads is empty: in the middle of one, the first
 * VEOF only hands over what was typed. */
bool process_stdin_end(struct process *p)
{
    struct termios t;
    if (!p->tty)
        return true;
    uint8_t end = 4;
    if (tcgetattr(p->channel.in.source.fd, &t) == 0 && t.c_cc[VEOF] != _POSIX_VDISABLE)
        end = t.c_cc[VEOF];
    uint8_t typed[2] = {end, end};
    ssize_t n = write(p->channel.in.source.fd, typed, p->mid_line ? 2 : 1);
    if (n == 1)
        p->mid_line = false;
    return n < 0 ? errno != EAGAIN : true;
}
