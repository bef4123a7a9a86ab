-- cancel: take back a text that is still waiting. Returns 'cancelled' 'sending' 'unknown', or the state it is over in.
local id = take()
local state, name = unpack(redis.call('HMGET', STATUS, 'state', 'entry'))
local facts = {}

if state == 'deferred' then
  redis.call('ZREM', DEFERRED, id)
  redis.call('HDEL', MESSAGES, id)
elseif state and state ~= 'queued' then
  return state
else
  name = name or (string.sub(id, 1, 1) == 'h' and id or 'n' .. id)
  local stream, entry = stream_of(name)
  if not string.match(entry, '^%d+%-%d+$') then return 'unknown' end
  if redis.call('HEXISTS', INFLIGHT, name) == 1 then return 'sending' end
  local fields = entry_of(stream, entry)
  if not fields or (field_of(fields, 'id') or id) ~= id then return 'unknown' end
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  facts = {'to', field_of(fields, 'to') or ''}
end
redis.call('HINCRBY', COUNTERS, 'cancelled', 1)
redis.call('HDEL', STATUS, 'entry', 'due')
tell(STATUS, id, 'cancelled', NOW .. ' cancelled', '', facts)
redis.call('PEXPIRE', STATUS, KEEP_STATUS)
return 'cancelled'
