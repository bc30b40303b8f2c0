/* Programs for these tests, in C because other users must be able to run them, wherever Python lies.
 *   bomb              forks as fast as it may, for ever
 *   blind             hides its /proc files from everybody, and answers what it reads
 *   old-kernel CMD    runs a command that finds no openat2, close_range, epoll_pwait2: as before Linux 5.6
 *   old-docker CMD    the same, but they are denied (EPERM), as older seccomp profiles do with what they do not know
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int without_new_calls(unsigned error, char **command)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 436, 2, 0), /* close_range */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 437, 1, 0), /* openat2 */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 441, 0, 1), /* epoll_pwait2 */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        execvp(command[0], command);
    perror("old");
    return 1;
}

int main(int argc, char **argv)
{
    char text[100];
    ssize_t n;
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "old-kernel") && argc > 2)
        return without_new_calls(ENOSYS, argv + 2);
    if (!strcmp(argv[1], "old-docker") && argc > 2)
        return without_new_calls(EPERM, argv + 2);
    if (!strcmp(argv[1], "bomb"))
        for (;;)
            fork();
    prctl(PR_SET_DUMPABLE, 0);
    while ((n = read(0, text, sizeof text)) > 0)
        if (write(1, "got ", 4) != 4 || write(1, text, (size_t)n) != n)
            return 1;
    return 0;
}
