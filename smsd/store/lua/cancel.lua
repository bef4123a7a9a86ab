-- cancel: take back a text that is still waiting. Returns 'cancelled' 'sending' 'unknown', or how it ended.
local function take_entry(id, name)
  local stream, entry = stream_of(name)
  if redis.call('HEXISTS', INFLIGHT, name) == 1 then return nil, 'sending' end
  local fields = entry_of(stream, entry)
  if not fields or (field_of(fields, 'id') or id) ~= id then return nil, 'unknown' end
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  return fields
end

local function run(request, keys)
  local id, status = request.id, keys[1]
  local state, name = unpack(redis.call('HMGET', status, 'state', 'entry'))
  local facts = {}
  if state == 'deferred' then
    redis.call('ZREM', DEFERRED, id)
    redis.call('HDEL', MESSAGES, id)
  elseif state and state ~= 'queued' then
    return state
  else
    local fields, why_not = take_entry(id, name or (string.sub(id, 1, 1) == 'h' and id or 'n' .. id))
    if not fields then return why_not end
    facts = {'to', field_of(fields, 'to') or ''}
  end
  redis.call('HINCRBY', COUNTERS, 'cancelled', 1)
  tell(status, id, 'cancelled', NOW .. ' cancelled', '', facts)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'cancelled'
end
