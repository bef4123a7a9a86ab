-- cancel: take back a text that is still waiting. Returns 'cancelled' 'sending' 'unknown', or how it ended.
-- Where its entry says another id, returns {that}: ask again with that one's status as a second key; it tells whose it is.
-- A look-up shows the fields of the entry that are named in `look_up_names`.
local function take_entry(id, name, other)
  local stream, entry = stream_of(name)
  need(stream, INFLIGHT)
  if redis.call('HEXISTS', INFLIGHT, name) == 1 then return nil, 'sending' end
  local fields = entry_of(stream, entry)
  if not fields then return nil, 'unknown' end
  local said = field_of(fields, 'id') or id
  if said ~= id and not other then return nil, {said} end
  if said ~= id and redis.pcall('HGET', other, 'entry') == name then return nil, 'unknown' end
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  return fields
end

local function run(request, keys)
  local id, status = request.id, keys[1]
  local state, name = unpack(redis.pcall('HMGET', status, 'state', 'entry'))
  local facts = {}
  if state == 'deferred' then
    need(DEFERRED, MESSAGES)
    redis.call('ZREM', DEFERRED, id)
    redis.call('HDEL', MESSAGES, id)
  elseif state and state ~= 'queued' then
    return state
  else
    local fields, why_not = take_entry(id, name or (string.sub(id, 1, 1) == 'h' and id or 'n' .. id), keys[2])
    if not fields then return why_not end
    facts = shown_of(fields, request.look_up_names)
  end
  count('cancelled')
  tell(status, id, 'cancelled', NOW .. ' cancelled', '', facts)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'cancelled'
end
