/*
 * Connects with libssh through a ProxyCommand, as a database client does.
 * Arguments: the command, host, port. Says CONNECTED or libssh's error.
 */
#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    ssh_session s = ssh_new();
    long seconds = 20;
    int port, failed;

    if (argc != 4 || s == NULL)
        return 2;
    port = atoi(argv[3]);
    if (ssh_options_set(s, SSH_OPTIONS_HOST, argv[2]) || ssh_options_set(s, SSH_OPTIONS_PORT, &port) ||
        ssh_options_set(s, SSH_OPTIONS_TIMEOUT, &seconds) || ssh_options_set(s, SSH_OPTIONS_PROXYCOMMAND, argv[1])) {
        printf("options: %s\n", ssh_get_error(s));
        return 2;
    }
    failed = ssh_connect(s) != SSH_OK;
    if (failed)
        printf("error: %s\n", ssh_get_error(s));
    else
        printf("CONNECTED\n");
    ssh_disconnect(s);
    ssh_free(s);
    return failed;
}
