-- promote: due messages go back into the queue.
-- include: add, bury_deferred, counters, damage, deferred, fields, full, hex, identity, status
-- takes: ids, foreign
-- keys: status*
-- answers: older | {how many did, how many could not and wait on, why the first of them could not}
-- changes: queue, high, deferred, deferred_messages, dead, status, finished, events, counters, campaign,
--   campaigns_active, contacts
--
-- 'older' where newer data was known. What no message can be made of is buried instead. One that has been in line before
-- goes ahead of those that have not: it has waited. `foreign` gives, in hexadecimal digits, what stands where an id
-- should, of those whose id had to be made up.

local function promote(id, status, foreign)
  local name = foreign and octets_of(foreign) or id
  need(DEFERRED, MESSAGES)
  local due = redis.call('ZSCORE', DEFERRED, name)
  if not due or tonumber(due) > tonumber(NOW) then return 0 end
  local packed = redis.call('HGET', MESSAGES, name)
  allow_writes_while_full()
  if not packed then -- by other hands: nothing is left to send, and the rest must not wait for it
    redis.call('ZREM', DEFERRED, name)
    return 0
  end
  local fields = not foreign and unpacked(packed)
  if not fields then
    bury_deferred(id, status, packed, INVALID, name)
    return 0
  end
  local ahead = field_of(fields, 'priority') == 'high' or field_of(fields, 'attempts')
  local name = (ahead and 'h' or 'n') .. add(ahead and HIGH or QUEUE, fields)
  forget_deferred(id)
  count('promoted')
  record(status, id, 'queued', NOW .. ' queued', 'due', {'entry', name})
  return 1
end

local function run(request, keys)
  if is_older() then return 'older' end
  local promoted, refused, why = 0, 0, ''
  for i, id in ipairs(request.ids) do
    local done, result = pcall(promote, id, keys[i], request.foreign[id])
    if done then
      promoted = promoted + result
    else -- those of the other stream must not wait for it
      refused, why = refused + 1, refused == 0 and failure(result).err or why
    end
  end
  return {promoted, refused, why}
end
