-- fsck_deferred: due times without a message, and messages without a due time, or that make no sense.
-- include: bury_deferred, damage, deferred, finished, status
-- takes: ids, repair
-- keys: status*
-- answers: {{id, what is missing, what its status says}, ...}
-- changes: deferred, deferred_messages, dead, status, finished, events, counters, campaign, campaigns_active, contacts
--
-- Mended: what makes no sense is buried, as promote would. A message goes back to be due, unless its status
-- does not say that it waits: then it may have been sent, and a person decides about its dead letter.

local function lose(id, status, state)
  redis.call('ZREM', DEFERRED, id)
  if state and state ~= 'deferred' then return end -- the message is elsewhere; only its due time was left over
  record(status, id, 'lost', NOW .. ' lost its message is gone', 'fsck')
  redis.call('PEXPIRE', status, KEEP_STATUS)
end

local IN_DOUBT = {reason = 'in_doubt', code = '', detail = 'fsck found it without a due time'}

local function fault_of(due, packed, state)
  if not packed then return due and 'message' end
  if (due or state == 'deferred') and not unpacked(packed) then return 'sense' end
  return not due and 'due'
end

local function look(id, status, repair)
  local due, packed = redis.call('ZSCORE', DEFERRED, id), redis.call('HGET', MESSAGES, id)
  local state, when = known_state(id, status), redis.pcall('HGET', status, 'due')
  local missing = fault_of(due, packed, state)
  if not missing then return nil end
  if repair and missing == 'message' then
    lose(id, status, state)
  elseif repair and missing == 'sense' then
    bury_deferred(id, status, packed, INVALID)
  elseif repair and state == 'deferred' then
    redis.call('ZADD', DEFERRED, tonumber(when) and when or NOW, id)
  elseif repair then
    bury_deferred(id, status, packed, IN_DOUBT)
  end
  return {id, missing, state or ''}
end

local function run(request, keys)
  local faults = {}
  need(DEFERRED, MESSAGES)
  for i, id in ipairs(request.ids) do faults[#faults + 1] = look(id, keys[i], request.repair) end
  return faults
end
