/* Bridges standard input and output to a direct-tcpip channel with libssh.
 * usage: libssh_client PORT KEYFILE KNOWN_HOSTS TARGETHOST TARGETPORT */
#include <libssh/libssh.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void die(ssh_session s, const char *what) {
	fprintf(stderr, "%s: %s\n", what, ssh_get_error(s));
	exit(1);
}

int main(int argc, char **argv) {
	static char buf[65536];
	ssh_session s = ssh_new();
	ssh_key key;
	unsigned int port = atoi(argv[1]);
	int no = 0, eof = 0;
	if (argc != 6) return 2;
	ssh_options_set(s, SSH_OPTIONS_HOST, "127.0.0.1");
	ssh_options_set(s, SSH_OPTIONS_PORT, &port);
	ssh_options_set(s, SSH_OPTIONS_USER, "user");
	ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, argv[3]);
	ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
	if (ssh_connect(s) != SSH_OK) die(s, "connect");
	if (ssh_session_is_known_server(s) != SSH_KNOWN_HOSTS_OK) die(s, "host key");
	if (ssh_pki_import_privkey_file(argv[2], NULL, NULL, NULL, &key) != SSH_OK) die(s, "key");
	if (ssh_userauth_publickey(s, NULL, key) != SSH_AUTH_SUCCESS) die(s, "login");
	ssh_channel ch = ssh_channel_new(s);
	if (ssh_channel_open_forward(ch, argv[4], atoi(argv[5]), "127.0.0.1", 1) != SSH_OK) die(s, "refused");
	while (!ssh_channel_is_eof(ch)) {
		struct pollfd p[2] = {{ssh_get_fd(s), POLLIN, 0}, {eof ? -1 : 0, POLLIN, 0}};
		int n = ssh_channel_read_nonblocking(ch, buf, sizeof buf, 0);
		if (n < 0 && n != SSH_EOF) die(s, "read");
		if (n > 0) {
			for (int at = 0; at < n;) {
				int k = write(1, buf + at, n - at);
				if (k <= 0) return 3;
				at += k;
			}
			continue;
		}
		poll(p, 2, 100);
		if (!eof && p[1].revents) {
			n = read(0, buf, sizeof buf);
			if (n <= 0) {
				eof = 1;
				ssh_channel_send_eof(ch);
			}
			for (int at = 0; at < n;) {
				int k = ssh_channel_write(ch, buf + at, n - at);
				if (k <= 0) die(s, "write");
				at += k;
			}
		}
	}
	ssh_channel_close(ch);
	ssh_disconnect(s);
	return 0;
}
