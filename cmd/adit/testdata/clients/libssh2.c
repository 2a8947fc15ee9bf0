/*
 * Shakes hands with libssh2, which has no ProxyCommand: the program starts it
 * on a socket pair by itself. Arguments: the command. Says CONNECTED, or the
 * error, and what the disconnect callback is given.
 */
#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static LIBSSH2_DISCONNECT_FUNC(on_disconnect)
{
    (void)session, (void)language, (void)language_len, (void)abstract;
    printf("disconnect callback: %d:%.*s\n", reason, message_len, message);
}

int main(int argc, char **argv)
{
    LIBSSH2_SESSION *s;
    int pair[2], failed;
    char *text = "";
    pid_t pid;

    if (argc != 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || libssh2_init(0))
        return 2;
    pid = fork();
    if (pid == 0) {
        close(pair[0]);
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[1]);
        execl("/bin/sh", "sh", "-c", argv[1], (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    s = libssh2_session_init();
    libssh2_session_callback_set(s, LIBSSH2_CALLBACK_DISCONNECT, (void *)on_disconnect);
    libssh2_session_set_timeout(s, 20000);
    failed = libssh2_session_handshake(s, pair[0]) != 0;
    if (failed) {
        libssh2_session_last_error(s, &text, NULL, 0);
        printf("error: %s\n", text);
    } else
        printf("CONNECTED\n");
    libssh2_session_free(s);
    close(pair[0]);
    waitpid(pid, NULL, 0);
    return failed;
}
