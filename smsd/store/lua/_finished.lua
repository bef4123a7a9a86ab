-- _finished: what is kept of a finished message: a few octets among those of its time, in place of its status.
-- include: campaign, events, fields, hex, history
--
-- Rule: a message that is here has no status; whoever writes one takes it from here first.
--
-- The messages of one time and slot, by their ids alone, share a hash that is so small that Redis keeps it as one compact
-- list. These hashes are not among KEYS: only the ids say which there are. smsd/store/finished.py reads what stands here: a
-- state, then fields of which each is a code, its length and its octets.

local STATE_CODES = {sent = '\1', expired = '\2', suppressed = '\3', cancelled = '\4', duplicate = '\5', dropped = '\6'}
local NAME_CODES = {
  to = 1, from = 2, expires_at = 3, campaign = 4, ref = 5, segments = 6, encoding = 7, provider_id = 8, reason = 9, code = 10,
  detail = 11, attempts = 12, history = 13,
}
local LINE_CODES = { -- states in lines of a history
  queued = 1, sending = 2, deferred = 3, dead = 4, sent = 5, expired = 6, suppressed = 7, cancelled = 8, duplicate = 9,
  dropped = 10, lost = 11,
}
local NUMBER, LINES, HEX_ID, PREFIXED_ID, UUID, OTHER, ONCE = 32, 33, 34, 35, 36, 37, 38 -- in what other form a field is
local USUAL_CODES = { -- what most have, in one octet
  segments = {['1'] = '\64', ['2'] = '\65'}, encoding = {gsm7 = '\66', ucs2 = '\67'}, attempts = {['1'] = '\68'},
  reason = {opted_out = '\69'}, detail = {['the recipient has opted out'] = '\70'},
}
local WITHOUT_DETAIL = 32 -- added to the state of a line
local SLOTS, SHORTEST_ID, LONGEST_TIME, LONGEST_NUMBER = 128, 16, 15, 16
local LONGEST_SLACK = 100000 -- ms that some are kept too long, so that a hash need not be given a new end at every write
-- Of a status, what is not true of a message any more that is finished, or is written anew.
local PASSING = {state = 1, history = 1, entry = 1, due = 1, letter = 1, reason = 1, code = 1, detail = 1}

-- Key, field and time (Unix ms) of a message, by its id; nil where that says no time.
local function place_of_finished(id)
  local initial, before, last, number = string.match(id, '^(h?)([1-9]%d%d%d%d%d%d%d)(%d%d%d%d%d)%-(%d+)$')
  if before and #number <= 9 then
    local slot = (tonumber(last) + tonumber(number)) % SLOTS
    return PREFIX .. 'finished:' .. before .. ':' .. slot, initial .. last .. '-' .. number, tonumber(before .. last)
  end
  local digits = #id == 28 and string.match(id, '^s([0-9a-f]+)$') -- 11 of the time, 12 of chance, 4 of a number
  if not digits then return nil end
  local slot = (tonumber(string.sub(digits, 10, 11), 16) + tonumber(string.sub(digits, -2), 16)) % SLOTS
  local key = PREFIX .. 'finished:s' .. string.sub(digits, 1, 7) .. ':' .. slot
  return key, octets_of(string.sub(digits, 8)), tonumber(string.sub(digits, 1, 11), 16)
end

-- A whole number, seven bits an octet, the lowest first.
local function varint(number)
  if number < 128 then return string.char(number) end
  local low = number % 128
  if number < 16384 then return string.char(low + 128, (number - low) / 128) end
  return string.char(low + 128) .. varint((number - low) / 128)
end

local function sized(code, octets)
  if #octets < 128 then return string.char(code, #octets) .. octets end
  return string.char(code) .. varint(#octets) .. octets
end

-- What passed between two times, in octets, and the second; nothing where it lies before the first.
local function passed_from(time, at)
  local passed = #at <= LONGEST_TIME and not string.find(at, '^0') and tonumber(at) - time
  return passed and passed >= 0 and varint(passed), tonumber(at)
end

local function packed_line(line, time)
  local at, state, detail = string.match(line, '^(%d+) (%l+)(.*)$')
  local code = LINE_CODES[state or '']
  if not code or detail ~= '' and not string.find(detail, '^ .') then return nil end
  local passed, since = passed_from(time, at)
  if not passed then return nil end
  return passed .. (detail == '' and string.char(code + WITHOUT_DETAIL) or sized(code, string.sub(detail, 2))), since
end

-- A history with the time of each line from that of the one before it; as it is where smsd did not write it.
local function packed_history(history, time)
  local began, number, ended = string.match(history, '^(%d+) sending (%d)\n(%d+) sent$')
  if began then -- as nearly all
    local before, since = passed_from(time, began)
    local after = before and passed_from(since, ended)
    if after then return sized(ONCE, before .. number .. after) end
  end
  local packed = {}
  for line in string.gmatch(history .. '\n', '([^\n]*)\n') do
    packed[#packed + 1], time = packed_line(line, time)
    if not time then return sized(NAME_CODES.history, history) end
  end
  return sized(LINES, table.concat(packed))
end

local function packed_provider_id(id)
  local initials, hex = string.match(id, '^(%a?%a?)([0-9a-f]+)$')
  if hex and #initials ~= 1 and #hex >= SHORTEST_ID and #hex % 2 == 0 then
    return sized(initials == '' and HEX_ID or PREFIXED_ID, initials .. octets_of(hex))
  end
  local parts = #id == 36 and {string.match(id, '^([0-9a-f]+)%-([0-9a-f]+)%-([0-9a-f]+)%-([0-9a-f]+)%-([0-9a-f]+)$')} or {}
  if #parts == 5 and #parts[1] == 8 and #parts[2] == 4 and #parts[3] == 4 and #parts[4] == 4 then
    return sized(UUID, octets_of(table.concat(parts)))
  end
end

local function packed_field(name, value)
  local packed
  if name == 'to' and #value <= LONGEST_NUMBER and string.find(value, '^%+[1-9]%d*$') then
    packed = sized(NUMBER, struct.pack('>d', tonumber(value)))
  elseif name == 'provider_id' then
    packed = packed_provider_id(value)
  end
  local code = NAME_CODES[name]
  return packed or code and sized(code, value) or sized(OTHER, name) .. varint(#value) .. value
end

local function packed_finished(state, history, fields, time)
  local packed = STATE_CODES[state] .. packed_history(history, time)
  for i = 1, #fields, 2 do
    local name, value = fields[i], tostring(fields[i + 1])
    local usual = USUAL_CODES[name]
    packed = packed .. (usual and usual[value] or packed_field(name, value))
  end
  return packed
end

-- -- and back; an error where other hands wrote it ------------------------------------------------

local function number_at(value, at)
  local number, weight = 0, 1
  repeat
    local octet = string.byte(value, at)
    number, weight, at = number + octet % 128 * weight, weight * 128, at + 1
  until octet < 128
  return number, at
end

local function octets_at(value, at)
  local length, from = number_at(value, at)
  if from + length - 1 > #value then error('is cut off') end
  return string.sub(value, from, from + length - 1), from + length
end

local function inverse(codes)
  local names = {}
  for name, code in pairs(codes) do names[code] = name end
  return names
end

local function unpacked_lines(packed, time)
  local lines, at, states, code, detail, passed = {}, 1, inverse(LINE_CODES), nil, nil, nil
  while at <= #packed do
    passed, at = number_at(packed, at)
    code, at, detail, time = string.byte(packed, at), at + 1, nil, time + passed
    if code < WITHOUT_DETAIL then detail, at = octets_at(packed, at) end
    lines[#lines + 1] = string.format('%.0f ', time) .. states[code % WITHOUT_DETAIL] .. (detail and ' ' .. detail or '')
  end
  return table.concat(lines, '\n')
end

local function unpacked_once(packed, time)
  local before, at = number_at(packed, 1)
  local after = number_at(packed, at + 1)
  local form = '%.0f sending ' .. string.sub(packed, at, at) .. '\n%.0f sent'
  return string.format(form, time + before, time + before + after)
end

local function hex_of(octets)
  return (string.gsub(octets, '.', function(octet) return string.format('%02x', string.byte(octet)) end))
end

local function unpacked_field(code, octets, time)
  if code == NUMBER then return 'to', string.format('+%.0f', (struct.unpack('>d', octets))) end
  if code == LINES then return 'history', unpacked_lines(octets, time) end
  if code == ONCE then return 'history', unpacked_once(octets, time) end
  if code == HEX_ID then return 'provider_id', hex_of(octets) end
  if code == PREFIXED_ID then return 'provider_id', string.sub(octets, 1, 2) .. hex_of(string.sub(octets, 3)) end
  if code ~= UUID then return inverse(NAME_CODES)[code], octets end
  if #octets ~= 16 then error('is no UUID') end
  return 'provider_id', (string.gsub(hex_of(octets), '^(........)(....)(....)(....)', '%1-%2-%3-%4-'))
end

local function usual_field(code)
  for name, values in pairs(USUAL_CODES) do
    for value, found in pairs(values) do
      if found == code then return {name, value} end
    end
  end
  error('is unknown')
end

local function unpacked_finished(value, time)
  local fields, at = {'state', inverse(STATE_CODES)[string.sub(value, 1, 1)] or error('is unknown')}, 2
  while at <= #value do
    local code, name, octets = string.byte(value, at), nil, nil
    at = at + 1
    if code >= 64 then
      append_all(fields, usual_field(string.char(code)))
    else
      octets, at = octets_at(value, at)
      if code == OTHER then
        name = octets
        octets, at = octets_at(value, at)
      else
        name, octets = unpacked_field(code, octets, time)
      end
      append_all(fields, {name or error('is unknown'), octets})
    end
  end
  return fields
end

-- Flat fields of a finished message, with its place; nil where none is kept here.
local function finished(id)
  local key, field, time = place_of_finished(id)
  local value = key and redis.pcall('HGET', key, field)
  if type(value) ~= 'string' then return nil end
  local readable, fields = pcall(unpacked_finished, value, time)
  if readable then return fields, key, field end
end

-- The state that a status says, or, where there is none, what is kept here.
local function known_state(id, status)
  local state = redis.pcall('HGET', status, 'state')
  if type(state) == 'string' then return state end
  return field_of(finished(id) or {}, 'state')
end

-- -- writing ------------------------------------------------------------------------------------------

-- What is known of it beside what is known anew.
local function with_past(past, fields)
  local anew, known = {}, {}
  for i = 1, #fields, 2 do anew[fields[i]] = true end
  for i = 1, #past, 2 do
    if not PASSING[past[i]] and not anew[past[i]] then append_all(known, {past[i], past[i + 1]}) end
  end
  return append_all(known, fields)
end

local function packed_with(past, state, line, fields, time)
  if #past == 0 then return packed_finished(state, line, fields, time) end
  local history = field_of(past, 'history')
  if history then line = bounded(history) .. '\n' .. line end
  return packed_finished(state, line, with_past(past, fields), time)
end

local moved_to = {} -- the hashes that are written for this group

-- Whether it is kept here that a message is finished; else it needs a status.
local function finish_status(status, id, state, line, detail, fields)
  local key, field, time = place_of_finished(id)
  if not key or not STATE_CODES[state] then return false end
  local past = history_of(status) and redis.pcall('HGETALL', status) or {}
  local added = redis.pcall('HSETNX', key, field, packed_with(past, state, line, fields or {}, time))
  if type(added) ~= 'number' then return false end -- other hands wrote something else at the key
  if added == 0 then -- a message of that id was finished before
    past = #past > 0 and past or finished(id) or {}
    redis.pcall('HSET', key, field, packed_with(past, state, line, fields or {}, time))
  end
  if not none_has_status then redis.pcall('UNLINK', status) end
  moved_to[key] = true
  announce(id, state, detail or '')
  return true
end

-- It is not finished any more: it has a status again, for what is to be written there.
local function reopen_status(status, id)
  if history_of(status) then return end
  local fields, key, field = finished(id)
  if not fields then return end
  redis.pcall('HSET', status, unpack(fields))
  redis.pcall('HDEL', key, field)
  recorded[status] = true
end

at_end[#at_end + 1] = function()
  local least, slack = tonumber(KEEP_STATUS), math.min(LONGEST_SLACK, math.floor(KEEP_STATUS / 16))
  for key in pairs(moved_to) do
    local left = redis.pcall('PTTL', key)
    if type(left) == 'number' and left < least then redis.pcall('PEXPIRE', key, least + slack) end
  end
end
