"""Mixed traffic on the whole product for minutes or days: does anything grow, fail or get lost?"""
