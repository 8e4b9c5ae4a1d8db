/* ehlo */
#include "relaypool.h"
