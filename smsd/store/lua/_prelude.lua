-- Shared by every script. Rule: an entry's presence in its stream is the truth; whoever deletes it settles it.
--
-- A script may run twice (its reply was lost), and two daemons may run it at once (one had been
-- stopped past its lease). So a transition acts only if the entry is still there, and a mark is
-- undone only by whoever set it. Where a script must work while Redis is full, its first write is
-- one that frees memory: once a script has written, Redis lets it finish.
--
-- Other hands may have put anything at any key, and Redis undoes nothing of a script that fails. So what
-- a transition cannot do without is looked at before its first write (`need`, `add`), and statistics
-- (status, events, counters) are written with `redis.pcall`: they never undo or refuse one.
--
-- A script's own file defines `run(request, keys)`, which is called for each request of a group
-- with the keys that this request brought.
local COMMON = 12 -- keys that every script is given
local QUEUE, HIGH, DEFERRED, MESSAGES, INFLIGHT, DEAD, EVENTS, COUNTERS, OPTOUTS, LEASE, INTAKE, STORE = unpack(KEYS, 1, COMMON)
local OWNER, NOW, KEEP_STATUS, MOST_EVENTS, KNOWN_ID, KNOWN_SETTLED = unpack(ARGV, 1, 6)
local GROUP, CONSUMER = 'smsd', 'smsd'
local CALLS = cjson.decode(ARGV[7]) -- of each how many keys are its own, and its request

local KIND = {
  [QUEUE] = 'stream', [HIGH] = 'stream', [DEFERRED] = 'zset', [MESSAGES] = 'hash', [INFLIGHT] = 'hash',
  [DEAD] = 'stream', [EVENTS] = 'stream', [COUNTERS] = 'hash', [OPTOUTS] = 'set', [LEASE] = 'string', [INTAKE] = 'hash',
  [STORE] = 'hash',
}

-- What a `pcall` caught, as an error to reply.
local function failure(reason) return type(reason) == 'table' and reason or redis.error_reply(reason) end

-- A command that Redis refuses and will refuse again: smsd/redis/errors.py reads key and reason.
local function refuse(key, reason) error({err = 'DAMAGED ' .. key .. ': ' .. reason}) end

-- Why a key cannot be used as what it is for, or nil.
local function wrong_type(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then return 'is a ' .. found .. ', not a ' .. kind end
end

-- Refuse if one of these keys has a wrong type. Each is looked at once, whatever the number of requests.
local sound = {}
local function need(...)
  for _, key in ipairs({...}) do
    if not sound[key] then
      local reason = wrong_type(key, KIND[key])
      if reason then refuse(key, reason) end
      sound[key] = true
    end
  end
end

local function need_hash(key)
  local reason = wrong_type(key, 'hash')
  if reason then refuse(key, reason) end
end

-- Append to a stream that is needed. Refused by name where its ids have run out.
local EXHAUSTED = 'can take no more entries, since its last id is the largest there is'
local function add(stream, fields)
  need(stream)
  local id = redis.pcall('XADD', stream, '*', unpack(fields))
  if type(id) == 'string' then return id end
  if string.find(id.err, 'exhausted', 1, true) or string.find(id.err, 'equal or smaller', 1, true) then
    refuse(stream, EXHAUSTED)
  end
  error(id)
end

-- No range can begin behind the last id there is. Those near it leave no room; only other hands make such.
local LAST_ID = '18446744073709551615-18446744073709551615'
local FIRST_SPENT = '18446744073709551615-10000000000000000000'
local function is_spent(id) return #id == #LAST_ID and string.sub(id, 1, 21) == string.sub(LAST_ID, 1, 21) end

-- Lua can pass about 8,000 values to one call; a hostile entry may have more fields than that.
local MOST_VALUES = 1000

-- An entry's name is its lane ('h' high priority, 'n' normal) and its id; ids alone may repeat across streams.
local function stream_of(name) return string.sub(name, 1, 1) == 'h' and HIGH or QUEUE, string.sub(name, 2) end

local function entry_of(stream, id)
  local found = redis.pcall('XRANGE', stream, id, id) -- an error: this is no id of an entry
  return found[1] and found[1][2]
end

local function field_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function last_id_of(stream) return field_of(redis.call('XINFO', 'STREAM', stream), 'last-generated-id') end

local function are_ids_spent(stream)
  return redis.call('EXISTS', stream) == 1 and is_spent(last_id_of(stream))
end

-- Fields without those of these names, bounded.
local function without(fields, names)
  local kept, dropped = {}, {}
  for _, name in ipairs(names) do dropped[name] = true end
  for i = 1, #fields, 2 do
    if not dropped[fields[i]] and #kept < MOST_VALUES then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  return kept
end

local function append_all(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
  return list
end

-- An entry as the daemon wants it: {name, fields, octets}, without fields that are too large or too many to read.
local function clip(lane, entry, most_octets)
  local octets = 0
  for _, value in ipairs(entry[2]) do octets = octets + #value end
  local fits = octets <= most_octets and #entry[2] <= MOST_VALUES
  return {lane .. entry[1], fits and entry[2] or false, octets}
end

-- Of a history that has no end (a text that is throttled for ever), its first line and the latest.
local MOST_HISTORY = 8192
local function bounded(history)
  if #history <= MOST_HISTORY then return history end
  local latest = string.match(string.sub(history, -MOST_HISTORY / 2), '\n.*') or ''
  return string.match(history, '^[^\n]*') .. latest
end

-- What a look-up shows of a message that nobody has judged: the fields of its entry that have these names, where they
-- are short enough to be true.
local LONGEST_SHOWN = 512
local function shown_of(fields, names)
  local shown = {}
  for _, name in ipairs(names) do
    local value = field_of(fields, name)
    if value and #value <= LONGEST_SHOWN then append_all(shown, {name, value}) end
  end
  return shown
end

-- What is told already of a text. Of a whole group it is nothing, nearly always: one command finds that out.
local nothing_told, told = nil, {}
local function history_of(status)
  if nothing_told == nil then
    local own = #KEYS - COMMON
    nothing_told = own > 0 and own <= MOST_VALUES and redis.call('EXISTS', unpack(KEYS, COMMON + 1)) == 0
  end
  if nothing_told and not told[status] then return false end
  local history = redis.pcall('HGET', status, 'history')
  return type(history) == 'string' and history
end

-- Let listeners know. (The stream of events is trimmed when the group has been told.)
local announced = false
local function announce(id, state, detail)
  redis.pcall('XADD', EVENTS, '*', 'id', id, 'state', state, 'detail', detail)
  announced = true
end

-- Let listeners know who held or released dispatch, and why. It is done by then, whatever stands where events should be.
local function announce_hold(state, reason, by)
  local added = redis.pcall('XADD', EVENTS, '*', 'id', '', 'state', state, 'detail', reason, 'by', by)
  announced = announced or type(added) == 'string'
end

-- Record a change of state, for look-ups (`history` holds one line a change) and for listeners.
-- What was true of the former place (where it was, when it was due, why it was dead) is true no longer.
local function tell(status, id, state, line, detail, facts)
  local past = history_of(status)
  told[status] = true
  if past then
    redis.pcall('HDEL', status, 'entry', 'due', 'letter', 'reason', 'code', 'detail')
    redis.call('PERSIST', status)
    line = bounded(past) .. '\n' .. line
  end
  redis.pcall('HSET', status, 'state', state, 'history', line, unpack(facts or {}))
  announce(id, state, detail or '')
end

-- A first write that Redis allows while it is full; after it, it allows the rest of a script.
local function open_the_door() redis.pcall('HDEL', INFLIGHT, '') end

-- Into the dead letters, with `ours` in place of what the text brought under these names. Returns the letter's id.
local function add_letter(fields, ours)
  local names = {}
  for i = 1, #ours, 2 do names[#names + 1] = ours[i] end
  return add(DEAD, append_all(without(fields, names), ours))
end

-- The fields of a deferred text, or nil: other hands may have written anything there.
local function unpacked(packed)
  local readable, fields = pcall(cjson.decode, packed)
  if not readable or type(fields) ~= 'table' then return nil end
  if #fields == 0 or #fields % 2 == 1 or #fields > MOST_VALUES then return nil end
  for _, value in ipairs(fields) do
    if type(value) ~= 'string' and type(value) ~= 'number' then return nil end
  end
  return fields
end

-- Set a deferred text aside as a dead letter, in whatever state it is. It waits under its id, or `name`.
local function bury_deferred(id, status, packed, why, name)
  local fields = unpacked(packed) or {'message', packed}
  local attempts, high = field_of(fields, 'attempts') or '0', field_of(fields, 'priority') == 'high'
  local facts = {'reason', why.reason, 'code', why.code, 'detail', why.detail, 'attempts', attempts}
  local ours = {'id', id, 'failed_at', NOW, 'lane', high and 'h' or 'n'}
  need(DEFERRED, MESSAGES)
  open_the_door()
  local letter = add_letter(fields, append_all(ours, facts))
  redis.call('ZREM', DEFERRED, name or id)
  redis.call('HDEL', MESSAGES, name or id)
  local state = redis.pcall('HGET', status, 'state')
  if type(state) == 'string' and state ~= 'deferred' then return end -- what it says stays true
  tell(status, id, 'dead', NOW .. ' dead ' .. why.reason, why.reason, append_all({'letter', letter}, facts))
end

local INVALID = {reason = 'invalid', code = 'entry', detail = 'what was deferred cannot be read'}

-- Name and fields of the entry that an attempt is for. Where a server lost that it had promoted the message and did so
-- once more, it is that entry, marked with the same attempt: see `Queue.begin`.
local function attempted_entry(request, status)
  local fields = entry_of(stream_of(request.name))
  if fields or request.mark == '' then return request.name, fields end
  local name = redis.pcall('HGET', status, 'entry')
  if type(name) ~= 'string' or redis.pcall('HGET', INFLIGHT, name) ~= request.mark then return request.name end
  return name, entry_of(stream_of(name))
end

-- Older data may hold a message as deferred that has been settled since. Its fields, where `request` settles it again.
-- (Where history knows how it was settled, this is another deferral.)
local function deferred_again(request, status)
  if not request.again then return nil end
  local state, history = unpack(redis.pcall('HMGET', status, 'state', 'history'))
  if state ~= 'deferred' or string.find(history or '', request.line, 1, true) then return nil end
  need(DEFERRED, MESSAGES)
  open_the_door()
  return redis.call('ZSCORE', DEFERRED, request.id) and unpacked(redis.call('HGET', MESSAGES, request.id) or '')
end

local function forget_deferred(id)
  redis.call('ZREM', DEFERRED, id)
  redis.call('HDEL', MESSAGES, id)
end

-- Whether another daemon holds the lease. (An expired one is nobody's; what is no string is dealt with at the next
-- renewal, and fences until then.)
local function is_fenced()
  local holder = redis.pcall('GET', LEASE)
  return holder and holder ~= OWNER
end

-- Which data this is: its id, the ids of the data that a person let it replace, and how many settlements it has seen.
local function identity()
  local found = redis.pcall('HMGET', STORE, 'id', 'replaces', 'settled')
  if found.err then return {'', '', 0} end
  local settled = string.match(found[3] or '', '^%d+$')
  return {found[1] or '', found[2] or '', settled and #settled <= 15 and tonumber(settled) or 0}
end

local function is_listed(id, ids) return string.find(',' .. ids .. ',', ',' .. id .. ',', 1, true) end

-- Whether the daemon has seen other data here, or newer: this may not know what was sent since.
local function is_older()
  if KNOWN_ID == '' then return false end
  local id, replaces, settled = unpack(identity())
  if id ~= KNOWN_ID then return not is_listed(KNOWN_ID, replaces) end
  return settled < tonumber(KNOWN_SETTLED)
end

-- The mark of an entry that this group is about: one command for all of them, instead of one each.
local marks
local function mark_of(name)
  if not marks then
    local names = {}
    for i, call in ipairs(CALLS) do names[i] = call[2].name end
    marks = {}
    for i, mark in ipairs(redis.pcall('HMGET', INFLIGHT, unpack(names))) do marks[names[i]] = mark end
  end
  return marks[name]
end

-- The mark of an attempt at a time that nobody knows (0): recovery finds it in doubt.
local function unknown_attempt(fields)
  local spent = string.match(field_of(fields, 'attempts') or '', '^%d+$') or '0'
  return string.format('%d 0 unknown', #spent <= 9 and tonumber(spent) + 1 or 1)
end

-- Whether another daemon's attempt to send this entry is under way.
local function is_foreign(name, mark)
  local found = mark_of(name)
  return found and found ~= mark
end

-- What the requests of a group write together, when all have run: one command instead of one each.
local marked, acked, unmarked, counted = {}, {[QUEUE] = {}, [HIGH] = {}}, {}, {}
local removed = 0 -- settlements that are not answered with 'settled'

local function count(what) counted[what] = (counted[what] or 0) + 1 end

local function write_together()
  if #marked > 0 then redis.call('HSET', INFLIGHT, unpack(marked)) end
  for stream, ids in pairs(acked) do
    if #ids > 0 then redis.pcall('XACK', stream, GROUP, unpack(ids)) end
  end
  if #unmarked > 0 then redis.pcall('HDEL', INFLIGHT, unpack(unmarked)) end
  for what, times in pairs(counted) do redis.pcall('HINCRBY', COUNTERS, what, times) end
  if announced then redis.pcall('XTRIM', EVENTS, 'MAXLEN', '~', MOST_EVENTS) end
end

-- Take an entry out of its stream. Returns 'settled', or why not:
-- 'gone' (settled before) or 'marked' (another daemon's attempt is under way).
-- `fact`: the provider took it; that holds whoever set the mark, and where no mark can be read.
local function settle(name, mark, fact)
  local stream, id = stream_of(name)
  need(stream)
  if not fact then need(INFLIGHT) end
  local foreign = is_foreign(name, mark)
  if foreign and not fact then return 'marked' end
  table.insert(acked[stream], id)
  if not foreign then table.insert(unmarked, name) end
  return redis.call('XDEL', stream, id) == 1 and 'settled' or 'gone'
end

