-- cancel: take back a message that is still waiting.
-- include: counters, damage, deferred, entries, events, fields, finished, recipients, shown, status
-- takes: id, look_up_names
-- keys: status, status?
-- answers: cancelled | sending | unknown | its state | {id}
-- changes: queue, high, deferred, deferred_messages, status, finished, events, counters, campaign, campaigns_active,
--   contacts
--
-- {id} where its entry says another id: ask again with that one's status as a second key, which knows whose entry it is.
-- A look-up shows the fields of the entry that are named in `look_up_names`.

local function take_entry(id, name, other)
  local stream, entry = stream_of(name)
  need(stream, INFLIGHT)
  if redis.call('HEXISTS', INFLIGHT, name) == 1 then return nil, 'sending' end
  local fields = entry_of(stream, entry)
  if not fields then return nil, 'unknown' end
  local own_id = field_of(fields, 'id') or id
  if own_id ~= id and not other then return nil, {own_id} end
  if own_id ~= id and redis.pcall('HGET', other, 'entry') == name then return nil, 'unknown' end
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  return fields
end

-- The state of a recipient of a campaign who has no message, or of whose message nothing else is kept. (Without one, they
-- get none any more.)
local function state_of_recipient(id)
  local campaign, _, _, value = recipient_of(id)
  if not campaign then return nil end
  local state = state_in(value) or campaign.rest
  if state == 'unexpanded' then
    move_recipient(id, 'cancelled', {})
    announce(id, 'cancelled', '')
    return 'cancelled'
  end
  return not UNSETTLED[state] and state or nil
end

local function run(request, keys)
  local id, status = request.id, keys[1]
  local state, name = unpack(redis.pcall('HMGET', status, 'state', 'entry'))
  state = state or state_of_recipient(id) or field_of(finished(id) or {}, 'state')
  local shown = {}
  if state == 'deferred' then
    need(DEFERRED, MESSAGES)
    forget_deferred(id)
  elseif state and state ~= 'queued' then
    return state
  else
    local fields, why_not = take_entry(id, name or first_entry(id), keys[2])
    if not fields then return why_not end
    shown = shown_of(fields, request.look_up_names)
  end
  count('cancelled')
  record(status, id, 'cancelled', NOW .. ' cancelled', '', shown)
  return 'cancelled'
end
