"""Every write of leaderboards.

boards    definitions: made, changed, archived
seasons   made when they are first needed
scores    what players and game servers submit
entries   what staff and servers do to entries: hide, show, remove
merging   what becomes of entries when players are merged
ranks     the index in Redis: brought up to date, rebuilt
"""
