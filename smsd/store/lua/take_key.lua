-- take_key: let only the first message with an idempotency key stay in the queue.
-- Keys: the record of the key, the status of the message. Returns 'first', 'duplicate', or 'conflict' where another
-- message has the key. The record holds the message's id, so the same message is the first again whoever asks again.
local function run(request, keys)
  local record, status = keys[1], keys[2]
  need_hash(record)
  local first, fingerprint = unpack(redis.call('HMGET', record, 'id', 'fingerprint'))
  if not first then
    open_the_door()
    redis.call('HSET', record, 'id', request.id, 'fingerprint', request.fingerprint)
    redis.call('PEXPIRE', record, request.key_ttl)
    return 'first'
  end
  if first == request.id then return 'first' end
  if fingerprint ~= request.fingerprint then return 'conflict' end
  if settle(request.name, '', false) == 'settled' then
    count('duplicate')
    removed = removed + 1
    local why = {'reason', 'duplicate', 'detail', 'of ' .. first}
    tell(status, request.id, 'duplicate', request.line .. ' of ' .. first, first, append_all(request.facts, why))
    redis.call('PEXPIRE', status, KEEP_STATUS)
  end
  return 'duplicate'
end
