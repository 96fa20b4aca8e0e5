//! polls
