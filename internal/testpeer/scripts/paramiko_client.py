# A local forward with paramiko. Arguments: server host, port, user, key file,
# known_hosts file, target host, port, rekey bytes (0 for the default), 1 to
# compress.
import concurrent.futures
import socket
import sys
import threading

import paramiko

host, port, user, key, hosts, to_host, to_port, rekey, compress = sys.argv[1:]
server = (host, int(port))
target = (to_host, int(to_port))

known = paramiko.HostKeys(hosts).lookup("[%s]:%d" % server)


class Transport(paramiko.Transport):
    """Answers a channel's close from another thread. Its own would wait, amid a key
    exchange, for what only itself can read (paramiko's issue 822)."""

    answers = concurrent.futures.ThreadPoolExecutor(1)

    def _send_user_message(self, data):
        send = super()._send_user_message
        if threading.current_thread() is self:
            self.answers.submit(send, data)
        else:
            send(data)


transport = Transport(server)
if int(rekey) > 0:
    transport.packetizer.REKEY_BYTES = int(rekey)
if compress == "1":
    transport.use_compression()
# Ask for the key types that are pinned.
options = transport.get_security_options()
types = [t for k in known.values() for t in (
    ("rsa-sha2-512", "rsa-sha2-256") if k.get_name() == "ssh-rsa" else (k.get_name(),))]
options.key_types = [t for t in options.key_types if t in types]
transport.start_client(timeout=60)
seen = transport.get_remote_server_key()
if known.get(seen.get_name()) != seen:
    sys.exit("host key is not the pinned one")
loaders = {"ssh-ed25519": paramiko.Ed25519Key, "ssh-rsa": paramiko.RSAKey}
kind = open(key + ".pub").read().split()[0]
transport.auth_publickey(user, loaders.get(kind, paramiko.ECDSAKey).from_private_key_file(key))


def upload(conn, channel):
    while True:
        data = conn.recv(1 << 16)
        if not data:
            break
        channel.sendall(data)
    channel.shutdown_write()


def serve(conn, origin):
    try:
        channel = transport.open_channel("direct-tcpip", target, origin)
    except paramiko.ChannelException as e:
        print("refused:", e, flush=True)
        conn.close()
        return
    up = threading.Thread(target=upload, args=(conn, channel), daemon=True)
    up.start()
    while True:
        data = channel.recv(1 << 16)
        if not data:
            break
        conn.sendall(data)
    conn.shutdown(socket.SHUT_WR)
    up.join()
    channel.close()
    conn.close()


listener = socket.create_server(("127.0.0.1", 0))
print("READY", listener.getsockname()[1], flush=True)
while True:
    conn, origin = listener.accept()
    threading.Thread(target=serve, args=(conn, origin), daemon=True).start()
