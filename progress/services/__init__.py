"""What progress writes.

saves          writing slots; save_history: deleting, restoring and purging them
stats          reports of players and of game servers
achievements   unlocks, and progress that games report
merging        copies when players are merged: merge_saves, merge_stats
content        definitions of stats and achievements
"""
