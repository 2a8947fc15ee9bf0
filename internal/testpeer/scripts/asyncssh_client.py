# A local forward with asyncssh. Arguments: server host, port, user, key file,
# known_hosts file, target host, port, rekey bytes (0 for the default), 1 to
# compress.
import asyncio
import sys

import asyncssh

host, port, user, key, hosts, to_host, to_port, rekey, compress = sys.argv[1:]


async def copy(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def main():
    options = {"rekey_bytes": int(rekey)} if int(rekey) > 0 else {}
    if compress == "1":
        options["compression_algs"] = ["zlib@openssh.com"]
    connection = await asyncssh.connect(
        host, int(port), username=user, client_keys=[key], known_hosts=hosts,
        agent_path=None, config=None, **options)

    async def serve(local_reader, local_writer):
        origin = local_writer.get_extra_info("peername")
        try:
            reader, writer = await connection.open_connection(
                to_host, int(to_port), origin[0], origin[1], encoding=None)
        except asyncssh.ChannelOpenError as e:
            print("refused:", e, flush=True)
            local_writer.close()
            return
        await asyncio.gather(copy(local_reader, writer), copy(reader, local_writer))
        writer.close()
        local_writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("READY", listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


asyncio.run(main())
