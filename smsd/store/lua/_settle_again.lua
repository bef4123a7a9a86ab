-- _settle_again: a settlement whose entry is not there, since a server lost what came after.
-- include: counters, damage, deferred, entries, full, recipients

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
  allow_writes_while_full()
  return redis.call('ZSCORE', DEFERRED, request.id) and unpacked(redis.call('HGET', MESSAGES, request.id) or '')
end

-- Older data may have the recipient of a campaign's message without one. Then the message counts as accepted, and may be
-- settled; returns the recipient's values.
local function accepted_again(id)
  local campaign, _, _, value = recipient_of(id)
  if not campaign or state_in(value) then return nil end
  allow_writes_while_full()
  count('scheduled') -- in no stream of this data
  return value
end
