# Bridges standard input and output to a direct-tcpip channel with paramiko.
# usage: paramiko_client.py PORT KEYFILE HOSTKEY(base64) TARGETHOST TARGETPORT
import base64, os, sys, threading
import paramiko

port, keyfile, hostkey, thost, tport = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
t = paramiko.Transport(("127.0.0.1", port))
t.start_client(timeout=20)
if base64.b64encode(t.get_remote_server_key().asbytes()).decode() != hostkey:
    sys.exit("wrong host key")
t.auth_publickey("user", paramiko.Ed25519Key(filename=keyfile))
try:
    ch = t.open_channel("direct-tcpip", (thost, tport), ("127.0.0.1", 1))
except paramiko.ChannelException as e:
    sys.exit("refused: %d %s" % (e.code, e.text))

def up():
    while True:
        b = os.read(0, 65536)
        if not b:
            ch.shutdown_write()
            return
        ch.sendall(b)

threading.Thread(target=up, daemon=True).start()
while True:
    b = ch.recv(65536)
    if not b:
        break
    while b:
        b = b[os.write(1, b):]
os._exit(0)
