#!/usr/bin/env escript
%% Erlang/OTP as a peer.
%%   server DIR                      a daemon with host key and authorized_keys in DIR; prints its port
%%   tunnel PORT DIR HOST TPORT      ssh:tcpip_tunnel_to_server; prints the local port
%%   channel PORT DIR HOST TPORT N   a raw direct-tcpip channel: asks the target for N bytes, prints their hash
main(["server", Dir]) ->
    ok = ssh:start(),
    {ok, Ref} = ssh:daemon({127,0,0,1}, 0, [{system_dir, Dir}, {user_dir, Dir}, {tcpip_tunnel_in, true},
        {auth_methods, "publickey"}]),
    {ok, Info} = ssh:daemon_info(Ref),
    io:format("~p~n", [proplists:get_value(port, Info)]),
    io:get_line("");
main(["tunnel", Port, Dir, Host, TPort]) ->
    Con = connect(Port, Dir),
    {ok, Local} = ssh:tcpip_tunnel_to_server(Con, loopback, 0, Host, list_to_integer(TPort)),
    io:format("~p~n", [Local]),
    io:get_line("");
main(["channel", Port, Dir, Host, TPort, N]) ->
    Con = connect(Port, Dir),
    H = list_to_binary(Host),
    Data = <<(byte_size(H)):32, H/binary, (list_to_integer(TPort)):32, 9:32, "127.0.0.1", 1:32>>,
    case ssh_connection_handler:open_channel(Con, "direct-tcpip", Data, 1000000, 32768, infinity) of
        {open, Ch} ->
            ok = ssh_connection:send(Con, Ch, ["DOWN ", N, "\n"]),
            io:format("~s~n", [recv(Con, Ch, crypto:hash_init(sha256))]);
        {open_error, Reason, Text, _} ->
            io:format(standard_error, "refused: ~p ~s~n", [Reason, Text]),
            halt(1)
    end.

connect(Port, Dir) ->
    ok = ssh:start(),
    {ok, Con} = ssh:connect("127.0.0.1", list_to_integer(Port), [{user, "user"}, {user_dir, Dir},
        {silently_accept_hosts, false}, {user_interaction, false}, {auth_methods, "publickey"}]),
    Con.

recv(Con, Ch, Hash) ->
    receive
        {ssh_cm, Con, {data, Ch, 0, B}} ->
            ssh_connection:adjust_window(Con, Ch, byte_size(B)),
            recv(Con, Ch, crypto:hash_update(Hash, B));
        {ssh_cm, Con, {eof, Ch}} ->
            [io_lib:format("~2.16.0b", [X]) || <<X>> <= crypto:hash_final(Hash)];
        {ssh_cm, Con, {closed, Ch}} ->
            "closed early"
    end.
