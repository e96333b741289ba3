"""Second factors: codes that a wallet's user must have besides the mnemonic, and every way around them.

From the bottom up: ``clock`` (time that nobody moves unnoticed), ``delivery`` (how a text reaches a person),
``factors`` (what all of them share), ``methods`` (which factors a wallet has), ``notices`` (what its user is told),
``codes`` (what was sent, what is right, who guesses), ``limits`` and ``frozen`` (what may leave without a code, and
what may not leave at all), ``reset`` (lost factors), ``gate`` (the cosigner's question), ``procedures`` (what clients
call) and ``upkeep`` (what time brings). ``docs/twofactor.md`` tells it to people.
"""
