-- mark_again: older data has forgotten that messages were being sent: write their in-flight records again.
-- include: bury_deferred, counters, damage, dead_letters, entries, fields, full, recipients, settle_again, status
-- takes: records
-- keys: status*
-- answers: how many were written
-- changes: deferred, deferred_messages, inflight, dead, status, finished, events, counters, campaign, campaigns_active,
--   contacts
--
-- Of each the names that its entry may have, its mark and its id. One that waits there to be sent again becomes a dead
-- letter in doubt; should it turn out to be sent, that is void. So does one of a campaign whose recipient has none here.

local IN_DOUBT = {reason = 'in_doubt', code = '', detail = 'it was being sent when older data came'}

local function mark_entry(names, mark)
  for _, name in ipairs(names) do
    if entry_of(stream_of(name)) then return redis.call('HSETNX', INFLIGHT, name, mark) end
  end
end

-- Its text is not known, but what it is made of: see replay.
local function bury_recipient(id, status)
  local values = accepted_again(id)
  if not values then return 0 end
  local _, number = recipient_of(id)
  local why = {'to', '+' .. number, 'reason', IN_DOUBT.reason, 'code', IN_DOUBT.code, 'detail', IN_DOUBT.detail}
  local letter = add_dead_letter({'values', values}, append_all({'id', id, 'attempts', 1, 'failed_at', NOW, 'lane', 'n'}, why))
  count('buried')
  record(status, id, 'dead', NOW .. ' dead in_doubt', IN_DOUBT.reason, append_all({'letter', letter}, why))
  return 1
end

local function bury_waiting(id, status)
  if not redis.call('ZSCORE', DEFERRED, id) then return bury_recipient(id, status) end
  bury_deferred(id, status, redis.call('HGET', MESSAGES, id) or '', IN_DOUBT)
  return 1
end

local function run(request, keys)
  need(INFLIGHT, DEFERRED, MESSAGES)
  local written = 0
  allow_writes_while_full()
  for i, one in ipairs(request.records) do
    local names, mark, id = unpack(one)
    written = written + (mark_entry(names, mark) or bury_waiting(id, keys[i]))
  end
  return written
end
