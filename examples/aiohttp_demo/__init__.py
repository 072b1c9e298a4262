"""What ``demo.py`` runs: one aiohttp application on two event loops, and its clients.

app.py       the application, as any asyncio program has one
in_trio.py   the Trio-flavoured function that one of its handlers calls
server.py    serves it, on either loop; a process of its own for each
client.py    sends requests and checks every answer; a process of its own
traffic.py   the kinds of requests
cancel.py    the client's part when the server is cancelled
lines.py     how the processes talk with each other
report.py    what the demo prints, and what it finds wrong
tree.py      a task tree made short enough to read
"""
