# Bridges standard input and output to a direct-tcpip channel with asyncssh.
# usage: asyncssh_client.py PORT KEYFILE HOSTKEY(base64) TARGETHOST TARGETPORT
import asyncio, os, sys
import asyncssh

port, keyfile, hostkey, thost, tport = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])

async def main():
    known = asyncssh.import_known_hosts("[127.0.0.1]:%d ssh-ed25519 %s\n" % (port, hostkey))
    async with asyncssh.connect("127.0.0.1", port, username="user", client_keys=[keyfile], known_hosts=known,
                                agent_path=None, config=None) as conn:
        try:
            r, w = await conn.open_connection(thost, tport, encoding=None)
        except asyncssh.ChannelOpenError as e:
            sys.exit("refused: %d %s" % (e.code, e.reason))
        loop = asyncio.get_running_loop()

        async def up():
            while True:
                b = await loop.run_in_executor(None, os.read, 0, 65536)
                if not b:
                    w.write_eof()
                    return
                w.write(b)
                await w.drain()

        task = asyncio.create_task(up())
        while True:
            b = await r.read(65536)
            if not b:
                break
            while b:
                b = b[os.write(1, b):]
        task.cancel()
        os._exit(0)

asyncio.run(main())
