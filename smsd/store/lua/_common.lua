-- _common: the keys and arguments that every script is given. It stands before every script.
--
-- Rule: an entry's presence in its stream is the truth; whoever deletes it settles it.
--
-- A script may run twice (its reply was lost), and two daemons may run it at once (one had been stopped past its
-- lease). So a transition acts only if the entry is still there, and an in-flight record is removed only by whoever
-- wrote it. Where a script must work while Redis is full, its first write is one that frees memory: once a script has
-- written, Redis lets it finish.
--
-- Other hands may have put anything at any key, and Redis undoes nothing of a script that fails. So what a transition
-- cannot do without is looked at before its first write (`need`, `add`), and statistics (status, events, counters) are
-- written with `redis.pcall`: they never undo or refuse one.
local COMMON = 12 -- keys that every script is given
local QUEUE, HIGH, DEFERRED, MESSAGES, INFLIGHT, DEAD, EVENTS, COUNTERS, OPTOUTS, LEASE, INTAKE, STORE = unpack(KEYS, 1, COMMON)
local OWNER, NOW, KEEP_STATUS, MOST_EVENTS, KNOWN_ID, KNOWN_SETTLED = unpack(ARGV, 1, 6)
local GROUP, CONSUMER = 'smsd', 'smsd'
local CALLS = cjson.decode(ARGV[7]) -- of each how many keys are its own, and its request

-- What the requests of a group write together, when all have run: one command instead of one each.
local at_end = {}
