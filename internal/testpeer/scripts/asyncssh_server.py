# An asyncssh server: direct-tcpip anywhere, and sessions whose every command is
# cat. Arguments: host key file, authorized keys file, password. The user
# "expired" must change the password.
import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        if password == sys.argv[3] and username == "expired":
            raise asyncssh.PasswordChangeRequired("Choose a new password.")
        return password == sys.argv[3]

    def change_password(self, username, old_password, new_password):
        return old_password == sys.argv[3] and new_password != old_password

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        print("direct-tcpip", dest_host, dest_port, "from", orig_host, orig_port, flush=True)
        return True


async def cat(process):
    async for data in process.stdin:
        process.stdout.write(data)
        await process.stdout.drain()
    process.exit(0)


async def main():
    listener = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[sys.argv[1]],
        authorized_client_keys=sys.argv[2],
        process_factory=cat,
        encoding=None,
    )
    print("READY", listener.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
