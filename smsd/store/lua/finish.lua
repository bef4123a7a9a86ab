-- finish: a message has ended (sent, suppressed, expired): forget the entry, keep the status for a while.
-- include: counters, entries, settle, settle_again, status
-- takes: name, mark, id, state, line, look_up, again?
-- keys: status
-- answers: settled | gone | marked
-- changes: queue, high, deferred, deferred_messages, inflight, dead, status, events, counters, store
--
-- A successor may have taken our attempt for one in doubt, or deferred it; or older data knows neither that it was
-- replayed nor promoted. Now that it has ended, its dead letter is void, and so is what waits to be sent again, and the
-- entry of another promotion, unless another attempt is under way from it.
-- (Where history knows that it was sent, another message has its id.)

local function void_entry(name, mark)
  local found = redis.pcall('HGET', INFLIGHT, name)
  if found and found ~= mark then return false end
  local stream, id = stream_of(name)
  redis.pcall('XACK', stream, GROUP, id)
  redis.pcall('HDEL', INFLIGHT, name)
  return redis.pcall('XDEL', stream, id) == 1
end

local function void(request, status)
  local found = redis.pcall('HMGET', status, 'state', 'history', 'letter', 'reason', 'entry')
  local state, history, letter, reason, entry = unpack(found)
  if string.find(history or '', request.line, 1, true) then return false end
  if letter and (reason == 'in_doubt' or request.again) then return redis.pcall('XDEL', DEAD, letter) == 1 end
  if state == 'queued' and entry then return void_entry(entry, request.mark) end
  if state ~= 'deferred' then return false end
  redis.pcall('HDEL', MESSAGES, request.id)
  return redis.pcall('ZREM', DEFERRED, request.id) == 1
end

local function run(request, keys)
  local status = keys[1]
  local sent = request.state == 'sent'
  local how = settle(request.name, request.mark, sent)
  local over = sent or how == 'gone' and deferred_again(request, status)
  if how ~= 'settled' and not (over and void(request, status)) then return how end
  count(request.state)
  record(status, request.id, request.state, request.line, '', request.look_up)
  redis.call('PEXPIRE', status, KEEP_STATUS)
  return 'settled'
end
