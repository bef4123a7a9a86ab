-- take_key: let only the first message with an idempotency key stay in the queue.
-- include: counters, damage, fields, full, settle, status
-- takes: name, id, fingerprint, key_ttl, line?, look_up?
-- keys: idempotency, status
-- answers: first | duplicate | conflict
-- changes: queue, high, idempotency, status, finished, events, counters, store, campaign, campaigns_active, contacts
--
-- 'conflict' where another message has the key. The record holds the message's id, so the same message is the first
-- again whoever asks again.
-- `line` and `look_up` are left out where it is known to be the first, and older data is to know it, too.

local function run(request, keys)
  local kept, status = keys[1], keys[2]
  need_hash(kept)
  local first, fingerprint = unpack(redis.call('HMGET', kept, 'id', 'fingerprint'))
  if not first then
    allow_writes_while_full()
    redis.call('HSET', kept, 'id', request.id, 'fingerprint', request.fingerprint)
    redis.call('PEXPIRE', kept, request.key_ttl)
    return 'first'
  end
  if first == request.id then return 'first' end
  if fingerprint ~= request.fingerprint then return 'conflict' end
  if settle(request.name, '', false) == 'settled' then
    count('duplicate')
    removed = removed + 1
    local why = {'reason', 'duplicate', 'detail', 'of ' .. first}
    record(status, request.id, 'duplicate', request.line .. ' of ' .. first, first, append_all(request.look_up, why))
  end
  return 'duplicate'
end
