-- _history: the status of a message is what a look-up shows. It is a statistic: it never refuses a transition.
-- include: events, fields

-- Of a history that has no end (a message that is throttled for ever), its first line and the latest.
local MOST_HISTORY = 8192
local function bounded(history)
  if #history <= MOST_HISTORY then return history end
  local latest = string.match(string.sub(history, -MOST_HISTORY / 2), '\n.*') or ''
  return string.match(history, '^[^\n]*') .. latest
end

-- Nearly always no message of a group has a status: one command finds that out.
local none_has_status, recorded = nil, {}
local function history_of(status)
  if none_has_status == nil then
    local own = #KEYS - COMMON
    none_has_status = own > 0 and own <= MOST_VALUES and redis.call('EXISTS', unpack(KEYS, COMMON + 1)) == 0
  end
  if none_has_status and not recorded[status] then return false end
  local history = redis.pcall('HGET', status, 'history')
  return type(history) == 'string' and history
end

-- Write a change of state, for look-ups (`history` holds one line a change) and for listeners.
-- What was true of the former place (where it was, when it was due, why it was dead) is true no longer.
local function write_status(status, id, state, line, detail, fields)
  local past = history_of(status)
  recorded[status] = true
  if past then
    redis.pcall('HDEL', status, 'entry', 'due', 'letter', 'reason', 'code', 'detail')
    redis.call('PERSIST', status)
    line = bounded(past) .. '\n' .. line
  end
  redis.pcall('HSET', status, 'state', state, 'history', line, unpack(fields or {}))
  announce(id, state, detail or '')
end
