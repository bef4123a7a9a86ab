-- finish: a message is sent, suppressed, expired or cancelled: remove its entry, keep its status for a while.
-- include: counters, entries, settle, settle_again, status
-- takes: name, mark, id, state, line, look_up, again?
-- keys: status
-- answers: settled | gone | marked
-- changes: queue, high, deferred, deferred_messages, inflight, dead, status, finished, events, counters, store,
--   campaign, campaigns_active, contacts
--
-- Its entry may be gone although it is not settled: a successor took our attempt for one in doubt, or deferred it; or
-- older data knows neither that it was replayed nor promoted. Then it is removed from where it is instead: its dead
-- letter, what waits to be sent again, or the entry of another promotion, unless another attempt is under way from that.
-- And a recipient of a campaign whom older data has without a message is settled.

local function remove_entry(name, mark)
  local found = redis.pcall('HGET', INFLIGHT, name)
  if found and found ~= mark then return false end
  local stream, id = stream_of(name)
  redis.pcall('XACK', stream, GROUP, id)
  redis.pcall('HDEL', INFLIGHT, name)
  return redis.pcall('XDEL', stream, id) == 1
end

-- Whether the message was found where its status says, and removed.
local function remove_elsewhere(request, status)
  local found = redis.pcall('HMGET', status, 'state', 'history', 'letter', 'reason', 'entry')
  local state, history, letter, reason, entry = unpack(found)
  -- Where history knows that it was sent, another message has its id.
  if string.find(history or '', request.line, 1, true) then return false end
  if letter and (reason == 'in_doubt' or request.again) then return redis.pcall('XDEL', DEAD, letter) == 1 end
  if state == 'queued' and entry then return remove_entry(entry, request.mark) end
  if state ~= 'deferred' then return false end
  redis.pcall('HDEL', MESSAGES, request.id)
  return redis.pcall('ZREM', DEFERRED, request.id) == 1
end

local function run(request, keys)
  local status = keys[1]
  local sent = request.state == 'sent'
  local answer = settle(request.name, request.mark, sent)
  if answer ~= 'settled' then
    local may_be_elsewhere = sent or answer == 'gone' and deferred_again(request, status)
    local found = may_be_elsewhere and remove_elsewhere(request, status)
    found = found or answer == 'gone' and (sent or request.again) and accepted_again(request.id)
    if not found then return answer end
  end
  count(request.state)
  record(status, request.id, request.state, request.line, '', request.look_up)
  return 'settled'
end
