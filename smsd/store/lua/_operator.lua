-- _operator: an operator's hold. Rule: a release has a higher number than all that was before it.
local LONGEST_NUMBER = 15 -- digits of a time in ms

-- What other hands left there counts as none.
local function number_of(value)
  local digits = type(value) == 'string' and string.match(value, '^%d+$')
  return digits and #digits <= LONGEST_NUMBER and tonumber(digits) or 0
end

local function last_release(released) return number_of(redis.pcall('GET', released)) end

-- The highest number that has been given, and any that a release of the standing hold has to exceed.
local function highest(held, released)
  return math.max(last_release(released), number_of(redis.pcall('HGET', held, 'after')))
end

-- (Lua would write a large number with an exponent.)
local function digits_of(number) return string.format('%d', number) end
