/*
 * Standard input and output through a direct-tcpip channel, with libssh.
 * Arguments: server host, port, user, key file, known_hosts file, target host,
 * port, rekey bytes (0 for the default), 1 to compress.
 */
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what, ssh_session s)
{
    fprintf(stderr, "%s: %s\n", what, s ? ssh_get_error(s) : "no memory");
    exit(1);
}

/* What the channel brings goes to standard output at once. */
static int on_data(ssh_session s, ssh_channel c, void *data, uint32_t len, int is_stderr, void *user)
{
    uint32_t done = 0;
    (void)s, (void)c, (void)is_stderr, (void)user;
    while (done < len) {
        ssize_t n = write(1, (char *)data + done, len - done);
        if (n <= 0)
            exit(0);
        done += n;
    }
    return len;
}

static void on_eof(ssh_session s, ssh_channel c, void *user)
{
    (void)s, (void)c;
    *(int *)user = 1;
    close(1);
}

/* Standard input goes to the channel as far as its window allows. */
static int on_input(socket_t fd, int revents, void *user)
{
    ssh_channel c = user;
    char buf[32768];
    uint32_t room = ssh_channel_window_size(c);
    ssize_t n;

    (void)revents;
    if (room == 0)
        return 0;
    n = read(fd, buf, room < sizeof buf ? room : sizeof buf);
    if (n <= 0) {
        ssh_channel_send_eof(c);
        return -1;
    }
    if (ssh_channel_write(c, buf, n) != n)
        exit(1);
    return 0;
}

int main(int argc, char **argv)
{
    ssh_session s = ssh_new();
    ssh_key key;
    ssh_channel c;
    ssh_event event = ssh_event_new();
    struct ssh_channel_callbacks_struct cb;
    unsigned port;
    uint64_t rekey;
    int quiet = 0, eof = 0, input = 0;

    if (argc != 10 || !s || !event)
        die("usage", NULL);
    port = atoi(argv[2]);
    rekey = strtoull(argv[8], NULL, 10);
    ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &quiet);
    ssh_options_set(s, SSH_OPTIONS_HOST, argv[1]);
    ssh_options_set(s, SSH_OPTIONS_PORT, &port);
    ssh_options_set(s, SSH_OPTIONS_USER, argv[3]);
    ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, argv[5]);
    ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
    if (rekey > 0)
        ssh_options_set(s, SSH_OPTIONS_REKEY_DATA, &rekey);
    if (argv[9][0] == '1')
        ssh_options_set(s, SSH_OPTIONS_COMPRESSION, "zlib@openssh.com");
    if (ssh_connect(s) != SSH_OK)
        die("connect", s);
    if (ssh_session_is_known_server(s) != SSH_KNOWN_HOSTS_OK)
        die("host key is not the pinned one", s);
    if (ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) != SSH_OK)
        die("key", s);
    if (ssh_userauth_publickey(s, NULL, key) != SSH_AUTH_SUCCESS)
        die("auth", s);
    c = ssh_channel_new(s);
    if (!c)
        die("channel", s);
    if (ssh_channel_open_forward(c, argv[6], atoi(argv[7]), "127.0.0.1", 40000) != SSH_OK)
        die("refused", s);

    memset(&cb, 0, sizeof cb);
    cb.userdata = &eof;
    cb.channel_data_function = on_data;
    cb.channel_eof_function = on_eof;
    ssh_callbacks_init(&cb);
    ssh_set_channel_callbacks(c, &cb);
    ssh_event_add_session(event, s);
    while (ssh_channel_is_open(c)) {
        /* Watch the input only while the window is open. */
        int want = input >= 0 && ssh_channel_window_size(c) > 0;
        if (want && input == 0) {
            ssh_event_add_fd(event, 0, 1 /* POLLIN */, on_input, c);
            input = 1;
        } else if (!want && input == 1) {
            ssh_event_remove_fd(event, 0);
            input = 0;
        }
        if (ssh_event_dopoll(event, 60000) == SSH_ERROR)
            break;
    }
    ssh_disconnect(s);
    return eof ? 0 : 1;
}
