-- _in_flight: the in-flight record of an entry ("mark") is the attempt to send it.

-- The marks of the entries that this group is about: one command for all of them, instead of one each.
local marks
local function mark_of(name)
  if not marks then
    local names = {}
    for i, call in ipairs(CALLS) do names[i] = call[2].name end
    marks = {}
    for i, mark in ipairs(redis.pcall('HMGET', INFLIGHT, unpack(names))) do marks[names[i]] = mark end
  end
  return marks[name]
end

-- Whether another daemon's attempt to send this entry is under way.
local function is_foreign(name, mark)
  local found = mark_of(name)
  return found and found ~= mark
end
