%% A local forward with Erlang/OTP. Arguments: mode, server host, port, user,
%% directory with key and known_hosts, "-", target host, port, rekey bytes (0
%% for the default), 1 to compress.
%%
%% Mode "tunnel" is ssh:tcpip_tunnel_to_server. Mode "channel" is the same by
%% hand: a direct-tcpip channel for each connection, opened through
%% ssh_connection_handler, since the documented API cannot give one to a program.
-module(otp_client).
-export([main/1]).

main([Mode, Host, Port, User, Dir, _, ToHost, ToPort, Rekey, Compress]) ->
    {ok, _} = application:ensure_all_started(ssh),
    Options = [{user, User},
               {user_dir, Dir},
               {auth_methods, "publickey"},
               {silently_accept_hosts, false},
               {user_interaction, false},
               {save_accepted_host, false}] ++
        [{preferred_algorithms, [{compression, ['zlib@openssh.com']}]} || Compress =:= "1"],
    {ok, Conn} = ssh:connect(Host, list_to_integer(Port), Options, 60000),
    Target = {ToHost, list_to_integer(ToPort)},
    {ok, Listening} = case Mode of
        "tunnel" ->
            ssh:tcpip_tunnel_to_server(Conn, {127,0,0,1}, 0, ToHost, element(2, Target));
        "channel" ->
            listen(Conn, Target, list_to_integer(Rekey))
    end,
    io:format("READY ~b~n", [Listening]),
    receive stop -> ok end.

listen(Conn, Target, Rekey) ->
    {ok, L} = gen_tcp:listen(0, [binary, {ip, {127,0,0,1}}, {active, false},
                                 {exit_on_close, false}, {nodelay, true}]),
    spawn_link(fun() -> accept(L, Conn, Target, Rekey) end),
    inet:port(L).

accept(L, Conn, Target, Rekey) ->
    {ok, Socket} = gen_tcp:accept(L),
    Pid = spawn(fun() -> receive go -> forward(Socket, Conn, Target, Rekey) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(L, Conn, Target, Rekey).

forward(Socket, Conn, {ToHost, ToPort}, Rekey) ->
    {ok, {FromIP, FromPort}} = inet:peername(Socket),
    To = list_to_binary(ToHost),
    From = list_to_binary(inet:ntoa(FromIP)),
    Data = <<(byte_size(To)):32, To/binary, ToPort:32,
             (byte_size(From)):32, From/binary, FromPort:32>>,
    case ssh_connection_handler:open_channel(Conn, "direct-tcpip", Data, 1 bsl 20, 32768, infinity) of
        {open, Channel} ->
            Self = self(),
            Sender = spawn_link(fun() -> upload(Socket, Conn, Channel, {Rekey, 0}), Self ! sent end),
            download(Socket, Conn, Channel, Sender, {Rekey, 0});
        Refusal ->
            io:format("refused: ~p~n", [Refusal]),
            gen_tcp:close(Socket)
    end.

upload(Socket, Conn, Channel, Count) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            case ssh_connection:send(Conn, Channel, Data) of
                ok -> upload(Socket, Conn, Channel, count(Conn, Count, Data));
                {error, closed} -> ok
            end;
        {error, _} ->
            ssh_connection:send_eof(Conn, Channel)
    end.

%% Messages of a channel come to the process that opened it.
download(Socket, Conn, Channel, Sender, Count) ->
    receive
        {ssh_cm, Conn, {data, Channel, _, Data}} ->
            _ = gen_tcp:send(Socket, Data),
            ssh_connection:adjust_window(Conn, Channel, byte_size(Data)),
            download(Socket, Conn, Channel, Sender, count(Conn, Count, Data));
        {ssh_cm, Conn, {eof, Channel}} ->
            gen_tcp:shutdown(Socket, write),
            download(Socket, Conn, Channel, Sender, Count);
        {ssh_cm, Conn, {closed, Channel}} ->
            unlink(Sender),
            exit(Sender, kill),
            gen_tcp:close(Socket);
        sent ->
            download(Socket, Conn, Channel, Sender, Count)
    end.

%% The option rekey_limit is looked at once a minute, so ask by hand.
count(_, {0, _} = Never, _) -> Never;
count(_, {Limit, N}, Data) when N + byte_size(Data) < Limit ->
    {Limit, N + byte_size(Data)};
count(Conn, {Limit, _}, _) ->
    ssh_connection_handler:renegotiate(Conn),
    {Limit, 0}.
