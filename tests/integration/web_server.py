"""A small web server for containers whose Python has little of its standard library."""

#: Usage: python3 -c SERVER port. A GET of ``/?n`` is answered with n MiB, each unlike the others,
#: one of another path with 404; a POST with the SHA-256 of its body.
SERVER = """
import hashlib, socket, sys, threading
BLOCK = bytes(range(256)) * 4096
def answer(connection):
    with connection, connection.makefile("rb") as lines:
        method, path, _ = lines.readline().decode().split()
        length = 0
        while (line := lines.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if method == "POST":
            digest = hashlib.sha256()
            while length:
                piece = lines.read(min(length, 1 << 20))
                digest.update(piece)
                length -= len(piece)
            body = [digest.hexdigest().encode()]
            size = len(body[0])
        else:
            count = int(path.partition("?")[2] or 0)
            body = (number.to_bytes(8, "big") + BLOCK[8:] for number in range(count))
            size = count << 20
        status = "200 OK" if path.startswith("/?") or path == "/" else "404 Not Found"
        connection.sendall(f"HTTP/1.1 {status}\\r\\nContent-Length: {size}\\r\\n\\r\\n".encode())
        for piece in body:
            connection.sendall(piece)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
