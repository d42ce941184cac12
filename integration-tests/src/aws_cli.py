"""The AWS CLI, loaded once. To start Python and import all of it takes several times longer than a command.

    python aws_cli.py serve DIRECTORY   loads the CLI and serves until its input ends; then it removes the directory
    python aws_cli.py DIRECTORY ...     runs a command in a fork of that, and ends as the command does

The fork has its caller's environment, working directory, input and output.
"""
import os
import socket
import sys


def ask(directory, arguments):
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.path.join(directory, "socket"))
        environment = [f"{name}={value}" for name, value in os.environ.items()]
        message = "\0".join([os.getcwd(), str(len(arguments)), *arguments, *environment])
        message = message.encode("utf-8", "surrogateescape")
        socket.send_fds(server, [message[:1]], [0, 1, 2])
        server.sendall(message[1:])
        server.shutdown(socket.SHUT_WR)
        return (server.recv(1) or b"\1")[0]


def serve(directory):
    import select
    import shutil
    import signal

    import awscli.clidriver

    # Imports what commands need.
    awscli.clidriver.create_clidriver()

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(directory, "socket"))
        listener.listen(64)
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([sys.stdin, listener], [], [])
            if sys.stdin in readable:
                shutil.rmtree(directory, ignore_errors=True)
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os._exit(answer(connection, awscli.clidriver.main))
            connection.close()


def answer(connection, main):
    message, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    while part := connection.recv(1 << 16):
        message += part
    directory, count, *rest = message.decode("utf-8", "surrogateescape").split("\0")
    arguments, environment = rest[: int(count)], rest[int(count) :]
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(directory)
    # Where the CLI has its data is set when it is imported.
    data = os.environ["AWS_DATA_PATH"]
    os.environ.clear()
    os.environ.update(line.split("=", 1) for line in [*environment, f"AWS_DATA_PATH={data}"])
    sys.argv = ["aws", *arguments]
    try:
        code = main()
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(bytes([code & 0xFF]))
    return code


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
