"""What analytics writes.

server_events   facts that the server itself records, in the transaction that made them
batches         events that games send
rollups         the figures of a day, computed again and again until they are final
retention       what is forgotten, and when
"""
