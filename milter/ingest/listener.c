/* listener */
#include "relaypool.h"
