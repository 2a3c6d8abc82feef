"""The sync expert: do these five frames and this 0.2 s of speech belong together?"""
