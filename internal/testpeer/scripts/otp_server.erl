%% Erlang/OTP's SSH daemon: direct-tcpip anywhere, exec echoes its command.
%% Arguments: a directory with ssh_host_ed25519_key and authorized_keys, and the
%% password that is let in.
-module(otp_server).
-export([main/1]).

main([Dir, Password]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, Daemon} = ssh:daemon({127,0,0,1}, 0,
        [{system_dir, Dir},
         {user_dir, Dir},
         {auth_methods, "publickey,keyboard-interactive,password"},
         {password, Password},
         {tcpip_tunnel_out, true},
         {tcpip_tunnel_in, true},
         {shell, disabled},
         {exec, {direct, fun(Command) -> {ok, Command} end}}]),
    {ok, Info} = ssh:daemon_info(Daemon),
    {port, Port} = lists:keyfind(port, 1, Info),
    io:format("READY ~b~n", [Port]),
    receive stop -> ok end.
